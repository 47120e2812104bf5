import assert from "node:assert/strict";
import { findProgram, requireComponent } from "../../fixtures/component.ts";
import { type Checkout, createCheckout, FAKE_DENO } from "./checkout.ts";

const VERSION = Deno.readTextFileSync(new URL("../../../.deno-version", import.meta.url)).trim();

/** Fetches as npm does with --ignore-scripts: the binary lies in the package of the system. */
const FAKE_NPM = `#!/bin/sh
echo "$@" >>"$(dirname "$0")/npm.log"
mkdir -p "$3/node_modules/@deno/some-system"
cat >"$3/node_modules/@deno/some-system/deno" <<'EOF'
#!/bin/sh
echo "deno ${VERSION}"
EOF
chmod +x "$3/node_modules/@deno/some-system/deno"
`;
const REFUSING = `#!/bin/sh\necho "$0 refuses" >&2\nexit 1\n`;
/** The installer's text, as curl prints it. */
const FAKE_CURL = `#!/bin/sh
cat <<'EOF'
mkdir -p "$DENO_INSTALL/bin"
echo "#!/bin/sh
echo deno \${1#v}" >"$DENO_INSTALL/bin/deno"
chmod +x "$DENO_INSTALL/bin/deno"
EOF
`;

async function withChmod(): Promise<Checkout> {
  const checkout = await createCheckout();
  await Deno.symlink("/bin/chmod", `${checkout.bin}/chmod`);
  return checkout;
}
const left = (checkout: Checkout) =>
  [...Deno.readDirSync(`${checkout.path}/.deno`)].map((entry) => entry.name);

Deno.test("the pinned Deno on PATH is used and nothing is fetched", async () => {
  await using checkout = await createCheckout();
  await checkout.program("deno", FAKE_DENO);
  await checkout.program("npm", REFUSING);
  const ran = await checkout.run("scripts/deno", ["task", "a b"]);
  assert.deepEqual(ran.stdout.split("\0").slice(2, -1), [`${checkout.bin}/deno`, "task", "a b"]);
  assert.equal(ran.stderr, "");
});

Deno.test("another version on PATH is passed over: npm fetches the pinned one, once", async () => {
  await using checkout = await withChmod();
  await checkout.program("deno", `#!/bin/sh\necho deno 1.0.0\n`);
  await checkout.program("npm", FAKE_NPM);
  const first = await checkout.run("scripts/deno", ["-V"]);
  assert.deepEqual([first.code, first.stdout], [0, `deno ${VERSION}\n`]);
  assert.equal(first.stderr.split("\n").length, 2, first.stderr);
  const second = await checkout.run("scripts/deno", ["-V"]);
  assert.deepEqual([second.stdout, second.stderr], [`deno ${VERSION}\n`, ""]);
  const calls = (await Deno.readTextFile(`${checkout.bin}/npm.log`)).trim().split("\n");
  assert.equal(calls.length, 1);
  assert.match(calls[0]!, /--ignore-scripts/);
  assert.deepEqual(left(checkout), [`deno-${VERSION}`]);
});

Deno.test("where npm fails Deno's own installer is asked for the pinned version", async () => {
  await using checkout = await withChmod();
  await checkout.program("npm", REFUSING);
  await checkout.program("curl", FAKE_CURL);
  const ran = await checkout.run("scripts/deno", ["-V"]);
  assert.equal(ran.stdout, `deno ${VERSION}\n`);
  assert.deepEqual(left(checkout), [`deno-${VERSION}`]);
});

Deno.test("where nothing can fetch Deno the way out is said and nothing is left", async () => {
  await using checkout = await createCheckout();
  const ran = await checkout.run("scripts/deno", ["-V"]);
  assert.equal(ran.code, 1);
  assert.match(ran.stderr, /cannot get Deno .*: install it/);
  assert.deepEqual(left(checkout), []);
});

Deno.test("four scripts that fetch at once all get a whole Deno", async () => {
  await using checkout = await withChmod();
  await checkout.program("npm", FAKE_NPM);
  const runs = await Promise.all(
    Array.from({ length: 4 }, () => checkout.run("scripts/deno", ["-V"])),
  );
  assert.deepEqual(runs.map((ran) => ran.stdout), Array(4).fill(`deno ${VERSION}\n`));
  assert.deepEqual(left(checkout), [`deno-${VERSION}`]);
});

Deno.test("the scripts run in busybox's shell", requireComponent("busybox"), async () => {
  await using checkout = await withChmod();
  await checkout.program("npm", FAKE_NPM);
  const ran = await checkout.run("scripts/deno", ["-V"], {
    shell: [findProgram("busybox")!, "sh"],
  });
  assert.equal(ran.stdout, `deno ${VERSION}\n`);
});
