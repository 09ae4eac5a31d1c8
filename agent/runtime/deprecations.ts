/**
 * Hides deprecation warnings: an operator can do nothing about a Node.js function that a library should no
 * longer call. Tests run with --throw-deprecation and see each of them.
 */
export function silenceDeprecations(): void {
  process.noDeprecation = !process.throwDeprecation
}
