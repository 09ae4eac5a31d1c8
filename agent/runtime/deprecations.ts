/**
 * An operator can do nothing about a Node.js function that a library should no longer call, so deprecation warnings are not
 * printed. Tests run with --throw-deprecation and see each of them.
 */
export function silenceDeprecations(): void {
  process.noDeprecation = !process.throwDeprecation
}
