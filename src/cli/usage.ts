/** What we say where stricli cannot read a command line. */
import {
  type ApplicationText,
  ArgumentScannerError,
  formatMessageForArgumentScannerError,
  text_en,
} from "@stricli/core";

const orList = (words: readonly string[]): string => words.join(" or ");

const guess = (corrections: readonly string[]): string =>
  corrections.length > 0 ? `; did you mean ${orList(corrections)}?` : "";

export const USAGE_TEXTS: ApplicationText = {
  ...text_en,
  noCommandRegisteredForInput: ({ input, corrections }) =>
    `openbox has no command ${input}${guess(corrections)}`,
  exceptionWhileParsingArguments(error) {
    if (!(error instanceof ArgumentScannerError)) return String(error);
    return formatMessageForArgumentScannerError(error, {
      FlagNotFoundError: ({ input, corrections }) =>
        `there is no flag --${input}${guess(corrections.map((name) => `--${name}`))}`,
      AliasNotFoundError: ({ input }) => `there is no flag -${input}`,
      ArgumentParseError: ({ externalFlagNameOrPlaceholder: name, input, exception }) =>
        // a flag by its name, an argument by its placeholder in capitals
        `${/^[a-z]/.test(name) ? `--${name}` : name} ${JSON.stringify(input)}: ${
          (exception as Error).message
        }`,
      EnumValidationError: ({ externalFlagName, input, values }) =>
        `--${externalFlagName} ${input}: it must be ${orList(values)}`,
      UnsatisfiedFlagError: ({ externalFlagName }) => `--${externalFlagName} needs a value`,
      UnexpectedFlagError: ({ externalFlagName }) => `--${externalFlagName} is given twice`,
      UnexpectedPositionalError: ({ input, expectedCount }) =>
        `${input} is one too many; ${expectedCount} expected`,
      UnsatisfiedPositionalError: ({ placeholder }) => `${placeholder} is missing`,
      InvalidNegatedFlagSyntaxError: ({ externalFlagName }) =>
        `--${externalFlagName} takes no value`,
    });
  },
};
