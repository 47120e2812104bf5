import assert from "node:assert/strict";
import { findBreaches, writesOf } from "./workflows.ts";

const ROOT = new URL("../../../", import.meta.url);
const read = (path: string) => Deno.readTextFile(new URL(path, ROOT));
const ci = await read(".github/workflows/ci.yml");
const release = await read(".github/workflows/release.yml");

Deno.test("INS-9: workflows are pinned, may do little, and put nothing from outside into a shell", async () => {
  const folder = new URL(".github/workflows/", ROOT);
  const names = (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name).sort();
  assert.deepEqual(names, ["ci.yml", "release.yml"]);
  for (const name of names) {
    assert.deepEqual(findBreaches(await Deno.readTextFile(new URL(name, folder))), [], name);
  }
  assert.deepEqual(writesOf(ci), {});
  assert.deepEqual(writesOf(release), { publish: ["contents", "id-token", "attestations"] });
});

Deno.test("INS-9: each of these is found where it is put in", () => {
  const secret = "${{ secrets.OPENBOX_RELEASE_KEY }}";
  for (
    const [workflow, from, to, why] of [
      [ci, /@[0-9a-f]{40} # v4\.2\.2/, "@v4", /not pinned/],
      [ci, /@[0-9a-f]{40} # v4\.2\.2/, "@11bd719 # v4.2.2", /not pinned/],
      [ci, "run: sudo .ci/run", "run: echo ${{ github.head_ref }}", /into a shell's text/],
      [
        release,
        '          test "$TAG"',
        '          test "${{ inputs.tag }}"',
        /into a shell's text/,
      ],
      [ci, "  pull_request:", "  pull_request_target:", /a trigger/],
      [ci, "permissions: {}\n", "", /permissions for all jobs/],
      [ci, "    permissions:\n      contents: read\n", "", /nothing of its permissions/],
      [ci, "    timeout-minutes: 60\n", "", /without a limit of time/],
      [ci, "          persist-credentials: false\n", "", /leaves a token/],
      [
        ci,
        "      - run: sudo",
        `      - env: { KEY: "${secret}" }\n        run: sudo`,
        /pull requests run/,
      ],
      [release, "    environment: release\n", "", /outside of its environment/],
      [release, "jobs:", "tasks:", /jobs: none/],
    ] as const
  ) {
    const changed = workflow.replace(from, () => to);
    assert.notEqual(changed, workflow, String(from));
    assert.ok(findBreaches(changed).some((line) => why.test(line)), `${from} → ${to}`);
  }
});

Deno.test("a release is tested on its own executables, signed after that, and shown last", () => {
  for (
    const [job, before] of [["e2e", "build"], ["sign", "e2e"], ["install", "sign"], [
      "publish",
      "install",
    ]]
  ) {
    assert.match(release, new RegExp(`^  ${job}:\n    needs: ${before}$`, "m"));
  }
  assert.match(release, /sh scripts\/build --target all --form compiled/);
  assert.match(release, /OPENBOX_TEST_PROGRAM=.* sh scripts\/test tests\/e2e/);
  assert.match(release, /test ! -e dist\/release\/UNSIGNED\.txt/);
  assert.match(release, /actions\/attest-build-provenance@/);
});

Deno.test("INS-10: packages are those of the lock, run no scripts, and are held against known holes", async () => {
  const project = JSON.parse(await read("deno.json")), lock = JSON.parse(await read("deno.lock"));
  assert.deepEqual(project.lock, { path: "deno.lock", frozen: true });
  assert.equal(project.allowScripts, undefined);
  const exact = /^npm:\/?(@[\w-]+\/)?[\w.-]+@\d+\.\d+\.\d+\/?$/;
  for (const specifier of Object.values<string>(project.imports)) assert.match(specifier, exact);
  for (const [name, entry] of Object.entries<{ integrity?: string }>(lock.npm)) {
    assert.match(entry.integrity ?? "", /^sha512-/, name);
  }
  assert.equal(lock.remote, undefined, "nothing comes from an address");
  for await (const { name, isFile } of Deno.readDir(new URL("scripts/", ROOT))) {
    if (!isFile) continue;
    const script = await read(`scripts/${name}`);
    assert.doesNotMatch(script, /--allow-scripts/, name);
    for (const line of script.match(/npm install.*(?:\\\n.*)*/g) ?? []) {
      assert.match(line, /--ignore-scripts/, name);
    }
  }
  assert.match(
    ci,
    /run: sh scripts\/deno install --frozen\n {6}- run: sh scripts\/deno audit --frozen-lockfile/,
  );
});
