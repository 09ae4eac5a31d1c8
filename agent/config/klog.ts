import { FlagError } from './go_flags.ts'

/** klog's flags that select lines of Go source: checked as by klog, without effect on another program. */

/** A comma list of `pattern=level`. */
export function readVmodule(text: string): string {
  for (const part of text.split(',')) {
    if (part === '') continue
    const [pattern, level, ...more] = part.split('=')
    if (!pattern || !level || more.length > 0 || !/^[+-]?\d+$/.test(level))
      throw new FlagError('syntax error: expect comma-separated list of filename=N')
    if (level.startsWith('-')) throw new FlagError('negative value for vmodule level')
  }
  return text
}

/** `file.go:234`. */
export function readBacktraceAt(text: string): string {
  if (!/^[^:]*\.[^:]*:\d+$/.test(text)) throw new FlagError('syntax error: expect file.go:234')
  if (/:0+$/.test(text)) throw new FlagError('negative or zero value for level')
  return text
}
