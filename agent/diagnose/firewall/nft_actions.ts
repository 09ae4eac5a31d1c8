import { type Json, objectOf } from './nft_json.ts'
import type { PlainAction } from './verdict.ts'

/** The action of a verdict statement; undefined for other statements. */
export function actionOf(name: string, argument: Json): PlainAction | undefined {
  switch (name) {
    case 'accept':
      return { verdict: 'accept' }
    case 'drop':
    case 'reject':
      return { verdict: 'drop' }
    case 'return':
      return { verdict: 'return' }
    case 'continue':
      return { verdict: 'next' }
    case 'jump':
    case 'goto':
      return { verdict: name, chain: String(argument.target) }
    case 'mangle': {
      // `meta mark set 7`.
      const isMark = objectOf(objectOf(argument.key).meta).key === 'mark'
      const { value } = argument
      return isMark && typeof value === 'number' ? { verdict: 'mark', value, mask: 0xffffffff } : undefined
    }
    default:
      return undefined
  }
}
