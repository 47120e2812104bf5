/** The scripts that shells source; they ask `openbox __complete WORDS…`, which prints `WORD<TAB>MEANING` lines. */
import { utf8 } from "../../bytes.ts";
import { OpenboxError } from "../../errors.ts";
import type { Host } from "../../host.ts";

const BASH = String.raw`_openbox() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do
    line=${"${"}line%%$'\t'*}
    [[ $line == "${"${"}COMP_WORDS[COMP_CWORD]}"* ]] && COMPREPLY+=("$line")
  done < <(openbox __complete "${"${"}COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _openbox openbox
`;

const ZSH = String.raw`#compdef openbox
_openbox() {
  local -a found
  local word meaning
  while IFS=$'\t' read -r word meaning; do
    found+=("${"${"}word//:/\\:}:$meaning")
  done < <(openbox __complete "${"${"}(@)words[2,CURRENT]}" 2>/dev/null)
  if (( ${"${"}#found} )); then _describe openbox found; else _files; fi
}
if [ "$funcstack[1]" = _openbox ]; then _openbox "$@"; else compdef _openbox openbox; fi
`;

const FISH = String.raw`function __openbox_complete
    set -l words (commandline -opc) (commandline -ct)
    openbox __complete $words[2..-1] 2>/dev/null
end
complete -c openbox -f -a '(__openbox_complete)'
`;

const SCRIPTS: Readonly<Record<string, string>> = { bash: BASH, zsh: ZSH, fish: FISH };

export async function completion(_flags: unknown, host: Host, shell: string): Promise<void> {
  if (!Object.hasOwn(SCRIPTS, shell)) {
    throw new OpenboxError("usage", `There is no completion for ${JSON.stringify(shell)}`, {
      hint: "openbox completion bash, zsh or fish",
    });
  }
  await host.stdout.write(utf8(SCRIPTS[shell]!));
}
