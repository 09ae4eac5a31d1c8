/**
 * The same text, flat and by itself. V8 keeps what was cut out of a longer text as a view of that, and what was put together
 * as a tree of its parts: with thousands of peers those are megabytes.
 */
export function ownText(text: string): string {
  return Buffer.from(text, 'utf8').toString('utf8')
}
