import { type Flag, FlagError } from './go_flags.ts'

/** klog's flags that select lines of Go source: checked as by klog, without effect on another program. */

/** `--vmodule`: a comma list of `pattern=level`. */
export function vmodule(help: string): Flag<string> {
  return { kind: 'string', default: '', help, read: readVmodule }
}

/** `--log_backtrace_at`: `file.go:234`. */
export function backtraceAt(help: string): Flag<string> {
  return { kind: 'string', default: '', help, read: readBacktraceAt }
}

function readVmodule(text: string): string {
  for (const part of text.split(',')) {
    if (part === '') continue
    const [pattern, level, ...more] = part.split('=')
    if (!pattern || !level || more.length > 0)
      throw new FlagError('syntax error: expect comma-separated list of filename=N')
    if (!/^[+-]?\d+$/.test(level))
      throw new FlagError('syntax error: expect comma-separated list of filename=N')
    if (level.startsWith('-')) throw new FlagError('negative value for vmodule level')
  }
  return text
}

function readBacktraceAt(text: string): string {
  if (!/^[^:]*\.[^:]*:\d+$/.test(text)) throw new FlagError('syntax error: expect file.go:234')
  if (/:0+$/.test(text)) throw new FlagError('negative or zero value for level')
  return text
}
