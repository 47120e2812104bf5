import assert from "node:assert/strict";
import { generateKey } from "../../../src/ssh/key.ts";
import { stampInstaller } from "../../../scripts/release/installer.ts";
import { findProgram, requireComponent } from "../../fixtures/component.ts";
import { keyLine, makeInstaller, makeRelease, tinyExecutable } from "../../fixtures/release.ts";
import { openInstallWorld, PATH_SHELLS, SHELLS } from "./install_world.ts";

const WANTED = requireComponent("bash", "busybox", "dash", "curl", "wget", "ssh-keygen");
const TARBALL = `openbox-linux-${Deno.build.arch === "aarch64" ? "arm64" : "amd64"}.tar.gz`;
const AT = "/download/v1.2.3/", LATEST = "/latest/download/";

const namesIn = (folder: string): string[] =>
  [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
const isFile = (path: string): boolean => Deno.statSync(path).isFile;

for (const shell of SHELLS) {
  for (const loader of ["curl", "wget"]) {
    Deno.test(`openbox is installed by ${shell.join(" ")} with ${loader}`, WANTED, async () => {
      await using world = await openInstallWorld({ tools: [loader, "ssh-keygen", "sha256sum"] });
      const ran = await world.run({ shell });
      assert.equal(ran.code, 0, ran.stderr);
      await world.assertIs("1.2.3");
      assert.deepEqual(world.installed(), ["openbox"]);
      assert.equal((await Deno.stat(world.target)).mode! & 0o7777, 0o755);
      assert.match(ran.stderr, /^openbox 1\.2\.3 is .*\/bin\/openbox$/m);
    });
  }
}

Deno.test("all tools of busybox but ssh-keygen are enough", WANTED, async () => {
  await using world = await openInstallWorld({ tools: ["busybox", "ssh-keygen"] });
  for (const name of namesIn(world.tools)) {
    // busybox has no getconf, so the C library is told by a file or by ldd
    if (name === "busybox" || name === "ssh-keygen") continue;
    await Deno.remove(`${world.tools}/${name}`);
    if (name !== "getconf") await Deno.symlink("busybox", `${world.tools}/${name}`);
  }
  for (const name of ["wget", "sha256sum"]) {
    await Deno.symlink("busybox", `${world.tools}/${name}`);
  }
  await world.program(
    "ldd",
    `#!/bin/sh\necho "ldd (Debian GLIBC 2.36-9+deb12u13) 2.36"\necho more\n`,
  );
  const ran = await world.run({ shell: ["busybox", "sh"] });
  assert.equal(ran.code, 0, ran.stderr);
  await world.assertIs("1.2.3");
});

Deno.test("through a pipe it is installed, and removed", WANTED, async () => {
  await using world = await openInstallWorld();
  const piped = await Deno.readTextFile(`${world.folder}/install.sh`);
  for (const shell of SHELLS) {
    const ran = await world.run({ shell, piped });
    assert.equal(ran.code, 0, ran.stderr);
    await world.assertIs("1.2.3");
    const removed = await world.run({ shell, piped, args: ["uninstall"] });
    assert.equal(removed.code, 0, removed.stderr);
    assert.deepEqual(world.installed(), []);
  }
});

Deno.test("the version asked for is installed, with and without its v", WANTED, async () => {
  await using world = await openInstallWorld();
  world.mirror.publish({ version: "1.3.0" });
  for (const OPENBOX_VERSION of ["v1.2.3", "1.3.0", "1.2.3", "latest"]) {
    const ran = await world.run({ env: { OPENBOX_VERSION } });
    assert.equal(ran.code, 0, ran.stderr);
    await world.assertIs(OPENBOX_VERSION === "latest" ? "1.3.0" : OPENBOX_VERSION.replace("v", ""));
  }
  await world.refuses(/cannot download .*v9\.9\.9/, { env: { OPENBOX_VERSION: "9.9.9" } });
});

Deno.test("a download that is cut off does nothing", WANTED, async () => {
  await using world = await openInstallWorld();
  const whole = await Deno.readTextFile(`${world.folder}/install.sh`);
  const cuts = Array.from({ length: Math.ceil(whole.length / 1000) }, (_, i) => i * 1000);
  // the last line, and what it takes to be whole
  for (let at = whole.length - 40; at < whole.lastIndexOf("}"); at++) cuts.push(at);
  for (const shell of SHELLS) {
    await Promise.all(cuts.map(async (at) => {
      await world.run({ shell, piped: whole.slice(0, at), args: ["uninstall"] });
      await world.run({ shell, piped: whole.slice(0, at) });
    }));
  }
  assert.deepEqual(world.installed(), []);
  assert.deepEqual(world.mirror.asked, []);
  assert.equal((await world.run({ piped: whole.trimEnd() })).code, 0);
});

const BROKEN_SUMS: Readonly<Record<string, [Uint8Array | undefined, RegExp]>> = {
  "missing": [undefined, /cannot download .*\.sha256/],
  "empty": [new Uint8Array(), /\.sha256: it is empty/],
  "wrong": [new TextEncoder().encode("0".repeat(64)), /says something else than the signed/],
  "endless": [new Uint8Array(100_000).fill(48), /\.sha256: (it is longer|.*)/],
};
for (const [how, [bytes, why]] of Object.entries(BROKEN_SUMS)) {
  Deno.test(`INS-1: with a checksum file that is ${how} nothing is installed`, WANTED, async () => {
    await using world = await openInstallWorld();
    world.mirror.files.set(`${AT}${TARBALL}.sha256`, bytes);
    await world.refuses(why);
    assert.deepEqual(world.installed(), []);
    assert.ok(!world.mirror.asked.includes(AT + TARBALL), "the tarball is not even fetched");
  });
}

Deno.test(
  "INS-1: a tarball that is missing, cut, longer or other is not unpacked",
  WANTED,
  async () => {
    await using world = await openInstallWorld();
    const good = world.mirror.files.get(AT + TARBALL)!;
    const other = good.slice();
    other[40]! ^= 1;
    const longer = new Uint8Array(good.length + 1);
    longer.set(good);
    const flood = new Uint8Array(1_000_000);
    for (
      const [bytes, why] of [
        [undefined, /cannot download/],
        [new Uint8Array(), /it is empty/],
        [good.slice(0, -1), /should have/],
        [longer, /should have/],
        [flood, /longer than it may be/],
        [other, /checksum of .* is wrong/],
      ] as const
    ) {
      world.mirror.files.set(AT + TARBALL, bytes);
      await world.refuses(why);
      assert.deepEqual(world.installed(), []);
    }
  },
);

Deno.test(
  "INS-2: without a signature by the release key nothing is installed",
  WANTED,
  async () => {
    await using world = await openInstallWorld();
    const { files, key } = world.mirror;
    const statement = files.get(`${LATEST}openbox-release.txt`)!;
    const stranger = makeRelease({ version: "1.2.3", key: generateKey() });
    const purpose = makeRelease({ version: "1.2.3", key, namespace: "file" });
    const later = makeRelease({ version: "1.2.4", key });
    const signature = "openbox-release.txt.sig";
    for (
      const [bytes, why] of [
        [undefined, /cannot download .*\.sig/],
        [new Uint8Array(), /\.sig: it is empty/],
        [statement, /is not by the release key/],
        [stranger.get(signature), /is not by the release key/],
        [purpose.get(signature), /is not by the release key/],
        [later.get(signature), /is not by the release key/],
      ] as const
    ) {
      files.set(LATEST + signature, bytes);
      await world.refuses(why);
    }
    assert.deepEqual(world.installed(), []);
    assert.ok(!world.mirror.asked.some((path) => path.includes(TARBALL)));
  },
);

Deno.test(
  "INS-2: a statement that was changed behind its signature is refused",
  WANTED,
  async () => {
    await using world = await openInstallWorld();
    const path = `${LATEST}openbox-release.txt`;
    const text = new TextDecoder().decode(world.mirror.files.get(path));
    world.mirror.files.set(path, new TextEncoder().encode(text.replace("1.2.3", "1.2.4")));
    await world.refuses(/is not by the release key/);
  },
);

Deno.test("INS-2: a release key past its day is believed no more", WANTED, async () => {
  await using world = await openInstallWorld();
  await world.writeInstaller(makeInstaller(world.mirror.key, { until: "2020-02-29" }));
  await world.refuses(/was good until 2020-02-29/);
  const today = new Date().toISOString().slice(0, 10);
  await world.writeInstaller(makeInstaller(world.mirror.key, { until: today }));
  assert.equal((await world.run()).code, 0);
});

Deno.test(
  "INS-2: an old release, signed as it is, does not pass for a newer one",
  WANTED,
  async () => {
    await using world = await openInstallWorld();
    await world.writeInstaller(makeInstaller(world.mirror.key, { version: "1.3.0" }));
    await world.refuses(/told to be 1\.2\.3, which is older than this install\.sh \(1\.3\.0\)/);
    // in the place of the one that was asked for
    const old = makeRelease({ version: "1.2.3", key: world.mirror.key });
    for (const [name, bytes] of old) world.mirror.files.set(`/download/v1.4.0/${name}`, bytes);
    await world.refuses(/asked for 1\.4\.0, and got the release 1\.2\.3/, {
      env: { OPENBOX_VERSION: "1.4.0" },
    });
    assert.deepEqual(world.installed(), []);
  },
);

Deno.test(
  "INS-2: what is installed is not replaced by an older one, unless that is asked for",
  WANTED,
  async () => {
    await using world = await openInstallWorld();
    await Deno.writeTextFile(world.target, tinyExecutable("1.10.0"), { mode: 0o755 });
    await world.refuses(/1\.10\.0 is here, and the latest release is told to be 1\.2\.3/);
    await world.assertIs("1.10.0");
    assert.equal((await world.run({ env: { OPENBOX_VERSION: "1.2.3" } })).code, 0);
    await world.assertIs("1.2.3");
  },
);

Deno.test(
  "INS-2: the install.sh of the sources has no key and believes nothing",
  WANTED,
  async () => {
    await using world = await openInstallWorld();
    const source = await Deno.readTextFile(new URL("../../../install.sh", import.meta.url));
    await world.writeInstaller(source);
    await world.refuses(/has no release key/);
    await world.writeInstaller(
      stampInstaller(source, { repository: "owner/openbox", version: "1.0.0", keys: "# none\n" }),
    );
    await world.refuses(/has no release key/);
    assert.deepEqual(world.mirror.asked, []);
  },
);

Deno.test(
  "INS-4: where a tool is missing it is named, and nothing is fetched or installed",
  WANTED,
  async () => {
    for (
      const [tools, why] of [
        [["ssh-keygen", "sha256sum"], /neither curl nor wget[^]*apt-get install curl/],
        [["curl", "sha256sum"], /ssh-keygen is not installed[^]*openssh-client/],
        [["curl", "ssh-keygen"], /no sha256sum, shasum or openssl/],
      ] as const
    ) {
      await using world = await openInstallWorld({ tools });
      for (const shell of PATH_SHELLS) await world.refuses(why, { shell });
      assert.deepEqual([world.installed(), world.mirror.asked], [[], []]);
    }
  },
);

Deno.test(
  "INS-4: shasum and openssl do for sha256sum; one that fails installs nothing",
  WANTED,
  async () => {
    for (const hasher of ["shasum", "openssl"]) {
      await using world = await openInstallWorld({ tools: ["curl", "ssh-keygen", hasher, "perl"] });
      assert.equal((await world.run()).code, 0);
      await world.program(hasher, "#!/bin/sh\nexit 1\n");
      await Deno.remove(world.target);
      await world.refuses(/cannot tell the checksum/);
      await world.program(hasher, "#!/bin/sh\n:\n");
      await world.refuses(/checksum of .* is wrong/);
      assert.deepEqual(world.installed(), []);
    }
  },
);

Deno.test("INS-4: an ssh-keygen from before 2019 is named", WANTED, async () => {
  await using world = await openInstallWorld();
  const old = `echo "ssh-keygen: illegal option -- Y" >&2; echo "usage: ssh-keygen …" >&2; exit 1`;
  await world.program("ssh-keygen", `#!/bin/sh\n${old}\n`);
  await world.refuses(/too old[^]*OpenSSH 8\.1/);
});

Deno.test(
  "INS-5: a running openbox goes on while it is replaced, and the old one is kept",
  WANTED,
  async () => {
    await using world = await openInstallWorld();
    await world.run();
    const running = new Deno.Command(world.target, {
      args: ["agent"],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const reader = running.stdout.pipeThrough(new TextDecoderStream()).getReader();
    assert.equal((await reader.read()).value, "started\n");
    world.mirror.publish({ version: "1.3.0" });
    const ran = await world.run();
    assert.equal(ran.code, 0, ran.stderr);
    await world.assertIs("1.3.0");
    assert.deepEqual(world.installed(), [".openbox.old", "openbox"]);
    assert.match(ran.stderr, /the one before, 1\.2\.3, is kept; back to it: mv /);
    await running.stdin.close();
    assert.equal((await reader.read()).value, "still 1.2.3\n");
    await reader.cancel();
    await running.status;
    const back = /back to it: (.*)/.exec(ran.stderr)![1]!;
    await new Deno.Command("/bin/sh", { args: ["-c", back] }).output();
    await world.assertIs("1.2.3");
  },
);

Deno.test(
  "INS-5: a folder that is a link is followed, and the note names the real one",
  WANTED,
  async () => {
    await using world = await openInstallWorld();
    await Deno.symlink(world.binDir, `${world.folder}/link`);
    const ran = await world.run({ env: { OPENBOX_BIN_DIR: `${world.folder}/link` } });
    assert.match(ran.stderr, new RegExp(`is ${world.target}$`, "m"));
    await world.assertIs("1.2.3");
  },
);

Deno.test("INS-5: what is not openbox's in its place is left alone", WANTED, async () => {
  await using world = await openInstallWorld();
  const other = "#!/bin/sh\necho 'Openbox 3.6.1, a window manager'\n";
  await Deno.writeTextFile(`${world.folder}/other`, other, { mode: 0o755 });
  await Deno.symlink(`${world.folder}/other`, world.target);
  await world.refuses(/is a link/);
  await Deno.remove(world.target);
  await Deno.copyFile(`${world.folder}/other`, world.target);
  await world.refuses(/does not answer as openbox/);
  await world.refuses(/does not answer as openbox/, { args: ["uninstall"] });
  assert.equal(await Deno.readTextFile(world.target), other);
  await Deno.remove(world.target);
  await Deno.mkdir(world.target);
  await world.refuses(/is no file/);
  assert.deepEqual(namesIn(world.target), []);
});

Deno.test(
  "INS-5: a new openbox that does not start, or is another one, replaces nothing",
  WANTED,
  async () => {
    await using world = await openInstallWorld();
    await world.run();
    for (
      const [executable, why] of [
        [
          "#!/bin/sh\necho 'no GLIBC_2.99 here' >&2\nexit 127\n",
          /does not start here: no GLIBC_2\.99/,
        ],
        ["#!/no/such/shell\n", /does not start here/],
        [tinyExecutable("9.9.9"), /says that it is 9\.9\.9, and the release 1\.3\.0/],
      ] as const
    ) {
      world.mirror.publish({ version: "1.3.0", executable });
      await world.refuses(why);
      await world.assertIs("1.2.3");
      assert.deepEqual(world.installed(), ["openbox"]);
    }
    world.mirror.publish({ version: "1.3.0", name: "other" });
    await world.refuses(/cannot unpack/);
  },
);

Deno.test(
  "INS-5: a new openbox that never answers is waited for half a minute, and replaces nothing",
  WANTED,
  async () => {
    await using world = await openInstallWorld();
    await world.run();
    world.mirror.publish({ version: "1.3.0", executable: "#!/bin/sh\nexec /bin/sleep 600\n" });
    const waited = `${world.folder}/waited`;
    await world.program("sleep", `#!/bin/sh\necho "$1" >>${waited}\nexec /bin/sleep 0.02\n`);
    for (const shell of PATH_SHELLS) await world.refuses(/does not start here/, { shell });
    await world.assertIs("1.2.3");
    assert.deepEqual(world.installed(), ["openbox"]);
    const seconds = (await Deno.readTextFile(waited)).trim().split("\n");
    assert.deepEqual([...new Set(seconds)], ["1"]);
    assert.ok(seconds.length >= 30 * PATH_SHELLS.length, `${seconds.length} s`);
  },
);

Deno.test(
  "INS-5: a user who cannot write to the folder is told so; without one it goes to ~/.local/bin",
  requireComponent("linux-root", "curl", "ssh-keygen", "dash"),
  async () => {
    await using world = await openInstallWorld();
    const uid = 65534;
    await world.refuses(/cannot write to .*\/bin/, { uid });
    await Deno.chown(world.home, uid, uid);
    const ran = await world.run({ uid, env: { OPENBOX_BIN_DIR: "" } });
    assert.equal(ran.code, 0, ran.stderr);
    assert.ok((await Deno.stat(`${world.home}/.local/bin/openbox`)).isFile);
    assert.match(ran.stderr, /add this line[^]*export PATH="\$HOME\/\.local\/bin:\$PATH"/);
  },
);

Deno.test(
  "/usr/local/bin is where it goes by default, if that is writable",
  requireComponent("linux-root", "unshare", "curl", "ssh-keygen", "dash"),
  async () => {
    await using world = await openInstallWorld();
    await Deno.symlink("/bin/mount", `${world.tools}/mount`);
    const inside = `mount -t tmpfs none /usr/local/bin && OPENBOX_BIN_DIR= dash install.sh &&
      test -x /usr/local/bin/openbox && PATH="$PATH:/usr/local/bin" openbox version &&
      OPENBOX_BIN_DIR= dash install.sh uninstall && test ! -e /usr/local/bin/openbox`;
    const { code, stdout, stderr } = await new Deno.Command(findProgram("unshare")!, {
      args: ["--mount", "/bin/sh", "-c", inside.replaceAll("dash", "/bin/sh")],
      cwd: world.folder,
      env: { PATH: world.tools, HOME: world.home, OPENBOX_BASE_URL: world.mirror.url },
    }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    assert.equal(new TextDecoder().decode(stdout), "openbox 1.2.3\n");
  },
);

Deno.test(
  "INS-6: on a full disk the old openbox stays, and nothing else",
  requireComponent("linux-root", "unshare", "curl", "ssh-keygen", "dash"),
  async () => {
    await using world = await openInstallWorld();
    await Deno.symlink("/bin/mount", `${world.tools}/mount`);
    await Deno.writeTextFile(`${world.folder}/old`, tinyExecutable("1.2.3"), { mode: 0o755 });
    const big = tinyExecutable("1.3.0") + `#${"x".repeat(500_000)}\n`;
    world.mirror.publish({ version: "1.3.0", executable: big });
    const inside = `mount -t tmpfs -o size=128k none bin && cp old bin/openbox &&
      ! /bin/sh install.sh && cmp old bin/openbox && ls -A bin`;
    const { code, stdout, stderr } = await new Deno.Command(findProgram("unshare")!, {
      args: ["--mount", "/bin/sh", "-c", inside],
      cwd: world.folder,
      env: {
        PATH: `${world.tools}:/usr/bin:/bin`,
        OPENBOX_BIN_DIR: world.binDir,
        OPENBOX_BASE_URL: world.mirror.url,
      },
    }).output();
    const said = new TextDecoder().decode(stderr);
    assert.equal(code, 0, said);
    assert.match(said, /cannot write to .*: .*No space left/);
    assert.equal(new TextDecoder().decode(stdout), "openbox\n");
  },
);

for (const step of ["cp", "chmod", "ln", "mv"]) {
  Deno.test(
    `INS-6: killed in ${step}, the old or the new openbox is there, whole, and the next run tidies up`,
    WANTED,
    async () => {
      await using world = await openInstallWorld();
      await world.run();
      world.mirror.publish({ version: "1.3.0" });
      const real = await Deno.readLink(`${world.tools}/${step}`);
      // the second mv is the one that replaces; the first keeps the old one
      for (const calls of step === "mv" ? [1, 2] : [1]) {
        for (const first of [true, false]) {
          await Deno.writeTextFile(world.target, tinyExecutable("1.2.3"));
          await Deno.remove(`${world.folder}/calls`).catch(() => {});
          await world.program(
            step,
            `#!/bin/sh
echo >>${world.folder}/calls
[ "$(wc -l <${world.folder}/calls)" -ge ${calls} ] || exec ${real} "$@"
${first ? "" : `${real} "$@"`}
kill -9 $PPID
`,
          );
          const ran = await world.run();
          assert.equal(ran.code, 137, ran.stderr);
          const left = await Deno.readTextFile(world.target);
          assert.ok([tinyExecutable("1.2.3"), tinyExecutable("1.3.0")].includes(left), left);
        }
      }
      await world.program(step, undefined);
      await Deno.symlink(real, `${world.tools}/${step}`);
      assert.equal((await world.run()).code, 0);
      await world.assertIs("1.3.0");
      assert.deepEqual(world.installed(), [".openbox.old", "openbox"]);
    },
  );
}

Deno.test("INS-11: nothing in a variable is run as a command", WANTED, async () => {
  await using world = await openInstallWorld();
  const evil = [
    "$(touch MARK)",
    "`touch MARK`",
    "'; touch MARK; '",
    '"; touch MARK; "',
    "a\ntouch MARK",
  ];
  for (const text of evil) {
    for (const shell of SHELLS) {
      await world.refuses(/is no version/, { shell, env: { OPENBOX_VERSION: `1.2.3${text}` } });
      await world.refuses(/is no OWNER\/NAME/, {
        shell,
        env: { OPENBOX_BASE_URL: "", OPENBOX_REPO: `owner/name${text}` },
      });
      await world.refuses(/has a character/, {
        shell,
        env: { OPENBOX_BASE_URL: `http://x/${text}` },
      });
      await world.refuses(/no such thing to do/, { shell, args: [text] });
    }
  }
  for (const repo of ["owner", "a/b/c", "/x", "x/", "../x", "x/..", "-x/y"]) {
    await world.refuses(/is no OWNER\/NAME/, { env: { OPENBOX_BASE_URL: "", OPENBOX_REPO: repo } });
  }
  await world.refuses(/must begin with https/, { env: { OPENBOX_BASE_URL: "file:///etc" } });
  for (const version of ["1", "1.2", "1.2.3.4", "../1.2.3", "1.2.x", "1..2", "-1.2.3"]) {
    await world.refuses(/is no version/, { env: { OPENBOX_VERSION: version } });
  }
  const odd = `${world.folder}/b in $(touch MARK)`;
  assert.equal((await world.run({ env: { OPENBOX_BIN_DIR: odd } })).code, 0);
  assert.ok((await Deno.stat(`${odd}/openbox`)).isFile);
  assert.ok(!namesIn(world.folder).includes("MARK"));
});

Deno.test("INS-11: nothing that a shell would run gets into the install.sh of a release", () => {
  const script = "\n  release_repo=''\n  release_version=''\n  release_keys=''\n";
  const good = { repository: "owner/na.me", version: "1.2.3", keys: keyLine(generateKey()) };
  assert.match(stampInstaller(script, good), /release_repo='owner\/na\.me'\n/);
  assert.throws(() => stampInstaller(script, { ...good, repository: "a/b'; touch x; '" }), /OWNER/);
  assert.throws(() => stampInstaller(script, { ...good, version: "1.2.3'" }), /no version/);
  assert.throws(() => stampInstaller(script, { ...good, keys: "2030-01-01 ssh-rsa '$(x)'\n" }));
  const comment = good.keys.replace("a test's", "'; touch x; '");
  assert.ok(!stampInstaller(script, { ...good, keys: comment }).includes("touch"));
  assert.throws(() => stampInstaller("#!/bin/sh\n", good), /no place for release_repo/);
});

Deno.test("a system that openbox does not run on is refused by name", WANTED, async () => {
  const uname = (system: string, machine: string) =>
    `#!/bin/sh\ncase $1 in -s) echo ${system} ;; -m) echo ${machine} ;; esac\n`;
  const getconf = (glibc: string, bits = 64) =>
    `#!/bin/sh\ncase $1 in GNU_LIBC_VERSION) ${glibc} ;; LONG_BIT) echo ${bits} ;; esac\n`;
  await using world = await openInstallWorld();
  for (
    const [programs, why] of [
      [{ uname: uname("FreeBSD", "amd64") }, /no openbox for FreeBSD/],
      [{ uname: uname("Linux", "riscv64") }, /no openbox for riscv64/],
      [
        { getconf: getconf("exit 1"), ldd: "#!/bin/sh\necho 'musl libc (x86_64)' >&2\nexit 1\n" },
        /has musl[^]*debian:12-slim/,
      ],
      [
        { getconf: getconf("exit 1"), ldd: "#!/bin/sh\nexit 1\n" },
        /cannot tell the C library|has musl/,
      ],
      [{ getconf: getconf("echo glibc 2.17") }, /glibc here is 2\.17; openbox needs 2\.27/],
      [{ getconf: getconf("echo glibc 2.36", 32) }, /32-bit/],
      [
        { uname: uname("Darwin", "arm64"), sw_vers: "#!/bin/sh\necho 10.15.7\n" },
        /macOS here is 10\.15\.7/,
      ],
    ] as const
  ) {
    await using own = await openInstallWorld();
    for (const [name, script] of Object.entries(programs)) await own.program(name, script);
    for (const shell of PATH_SHELLS) await own.refuses(why, { shell });
    assert.deepEqual([own.installed(), own.mirror.asked], [[], []]);
  }
  await world.program("uname", uname("Darwin", "x86_64"));
  await world.program("sw_vers", "#!/bin/sh\necho 14.5\n");
  assert.equal((await world.run()).code, 0);
  assert.ok(world.mirror.asked.includes(`${AT}openbox-darwin-amd64.tar.gz`));
  await world.program("sysctl", "#!/bin/sh\necho 1\n");
  assert.equal((await world.run()).code, 0);
  assert.ok(world.mirror.asked.includes(`${AT}openbox-darwin-arm64.tar.gz`), "under Rosetta");
});

Deno.test(
  "uninstall leaves what a service still starts, and says how to go on",
  WANTED,
  async () => {
    await using world = await openInstallWorld();
    await world.run();
    const units = `${world.home}/.config/systemd/user`;
    await Deno.mkdir(units, { recursive: true });
    await Deno.writeTextFile(
      `${units}/openbox-agent.service`,
      `[Service]\nExecStart=${world.target} agent\n`,
    );
    await world.refuses(/a service uses [^]*openbox service uninstall/, { args: ["--uninstall"] });
    await world.assertIs("1.2.3");
    await Deno.remove(`${units}/openbox-agent.service`);
    const ran = await world.run({ args: ["--uninstall"] });
    assert.match(ran.stderr, /is removed from .*stay in ~\/\.openbox/s);
    assert.deepEqual(world.installed(), []);
    await world.refuses(/nothing to remove/, { args: ["uninstall"] });
  },
);

Deno.test(
  "install.sh and the scripts have nothing that shellcheck warns of",
  requireComponent("shellcheck"),
  async () => {
    const root = new URL("../../../", import.meta.url).pathname;
    const scripts = namesIn(`${root}scripts`).filter((name) => !name.includes("."))
      .map((name) => `scripts/${name}`).filter((path) => isFile(root + path));
    const { code, stdout } = await new Deno.Command("shellcheck", {
      args: [
        "--severity=warning",
        "--external-sources",
        "--source-path=SCRIPTDIR",
        "install.sh",
        ...scripts,
      ],
      cwd: root,
    }).output();
    assert.equal(code, 0, new TextDecoder().decode(stdout));
  },
);
