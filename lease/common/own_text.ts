/**
 * A flat copy of the text. V8 keeps a piece cut out of a longer text as a view of that text, and a text put
 * together as a tree of its parts: with thousands of peers those are megabytes.
 */
export function ownText(text: string): string {
  return Buffer.from(text, 'utf8').toString('utf8')
}
