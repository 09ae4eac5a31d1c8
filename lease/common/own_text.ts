/**
 * A flat copy: V8 keeps a piece as a view of the longer text, and a text put together as a tree of its parts:
 * with thousands of peers those are megabytes.
 */
export function ownText(text: string): string {
  return Buffer.from(text, 'utf8').toString('utf8')
}
