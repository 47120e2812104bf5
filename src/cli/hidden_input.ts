import { abortable } from "../abort.ts";
import { text, utf8 } from "../bytes.ts";
import { OpenboxError } from "../errors.ts";
import { type Host, Interrupted } from "../host.ts";

const ETX = "\x03", EOT = "\x04", BACKSPACE = "\b", DELETE = "\x7f", KILL_LINE = "\x15";

/**
 * Asks on the terminal, without echo. Full raw mode, its keys handled here: Deno's cbreak leaves the
 * terminal without echo after Ctrl-C. Rejects with Interrupted for Ctrl-C.
 */
export async function askHidden(question: string, host: Host): Promise<string> {
  await host.stderr.write(utf8(question));
  host.stdin.setRaw(true);
  try {
    return await readAnswer(host);
  } finally {
    host.stdin.setRaw(false);
    await host.stderr.write(utf8("\n"));
  }
}

async function readAnswer(host: Host): Promise<string> {
  let answer = "";
  const buffer = new Uint8Array(1024);
  for (;;) {
    const count = await abortable(host.stdin.read(buffer), host.signal);
    if (count === null) return answer;
    for (const key of text(buffer.subarray(0, count))) {
      switch (key) {
        case "\r":
        case "\n":
          return answer;
        case ETX:
          throw new Interrupted("SIGINT");
        case EOT:
          if (answer === "") throw new OpenboxError("cancelled", "Nothing was entered");
          return answer;
        case BACKSPACE:
        case DELETE:
          answer = answer.slice(0, -1);
          break;
        case KILL_LINE:
          answer = "";
          break;
        default:
          if (key >= " ") answer += key;
      }
    }
  }
}
