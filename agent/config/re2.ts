import { RE2JS } from 're2js'
import { messageOf } from '../../lease/common/errors.ts'
import type { NamePattern } from '../underlay/underlay.ts'
import { ConfigError } from './values.ts'

/**
 * A pattern as Go's `regexp` reads it (RE2, https://github.com/google/re2/wiki/Syntax). Throws ConfigError, in that library's words.
 * It costs 7 MB of memory: import this file only where there is a pattern.
 */
export function compilePattern(flag: string, source: string): NamePattern {
  try {
    const pattern = RE2JS.compile(source)
    return { source, test: text => pattern.matcher(text).find() }
  } catch (cause) {
    throw new ConfigError(`--${flag} '${source}' is no regular expression: ${messageOf(cause)}`, { cause })
  }
}
