/**
 * Running text with `instead` in place of each URL's `user:password@`. The password may contain `@` and `/`, as
 * operators write them by mistake. A list of URLs, separated by commas, stays a list.
 */
export function withoutLogins(text: string, instead: string): string {
  return text.replaceAll(/\/\/(?:(?!,\w+:\/\/)[^\s"'])*@/g, () => `//${instead}`)
}
