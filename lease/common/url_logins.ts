/**
 * `instead` in place of each URL's `user:password@`, whose password may contain `@` and `/` by mistake. A
 * list of URLs, separated by commas, stays a list.
 */
export function withoutLogins(text: string, instead: string): string {
  return text.replaceAll(/\/\/(?:(?!,\w+:\/\/)[^\s"'])*@/g, () => `//${instead}`)
}
