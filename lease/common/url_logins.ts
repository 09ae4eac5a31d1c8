/**
 * Free text with `instead` in place of each URL's `user:password@`, whose password may contain `@` and `/` by
 * mistake; without a scheme, only where there is a password. A list of URLs, separated by commas, stays a
 * list. A name in front of an `@` alone stays too: `ops@example.com`, `eth0.5@eth0`.
 */
export function withoutLogins(text: string, instead: string): string {
  if (!text.includes('@')) return text
  return text.replaceAll(logins, login => `${login.startsWith('//') ? '//' : ''}${instead}`)
}

/** Longest user name, and longest password, that is found: hostile text would cost its length squared. */
const MOST = 2_000
/** No login that is found is longer, with its `:` and `@`. */
export const LONGEST_LOGIN = 2 * MOST + 2
const logins = new RegExp(
  String.raw`//(?:(?!,\w{1,20}://)[^\s"]){0,${MOST}}@|(?<![^\s"'(,=])[^\s"'(),=/@:{}<>;]{1,${MOST}}:(?!//)[^\s"'{}<>;]{0,${MOST}}@`,
  'g',
)

/**
 * A URL, or a list of them, with `instead` in place of all in front of its `@`; its scheme may be missing.
 */
export function withoutLogin(urls: string, instead: string): string {
  const one = (url: string) => url.replace(/^([\w+.-]+:\/\/|).*@/s, (_, scheme) => `${scheme}${instead}`)
  return urls
    .split(/,(?=\w+:\/\/)/)
    .map(one)
    .join()
}

/**
 * Undefined where the text is no URL, or its login contains a `/`, `?` or `#`: a part of the password would
 * count as host and path, and be printed. A password has them percent-encoded.
 */
export function parseUrl(text: string): URL | undefined {
  const [url, bare] = [text, withoutLogin(text, '')].map(one =>
    URL.canParse(one) ? new URL(one) : undefined,
  )
  return url?.host === bare?.host ? url : undefined
}
