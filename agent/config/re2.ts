import { RE2JS } from 're2js'
import { messageOf } from '../../lease/common/errors.ts'
import type { NamePattern } from '../underlay/underlay.ts'
import { ConfigError } from './values.ts'

/** As Go's `regexp` (RE2). Throws ConfigError. Costs 7 MB of memory: import this file only for a pattern. */
export function compilePattern(flag: string, source: string): NamePattern {
  try {
    const pattern = RE2JS.compile(source)
    return { source, test: text => pattern.matcher(text).find() }
  } catch (cause) {
    throw new ConfigError(`--${flag} '${source}' is no regular expression: ${messageOf(cause)}`, { cause })
  }
}
