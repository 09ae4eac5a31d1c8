import { describe, expect, it } from 'vitest'
import { ProgressLine } from '../../../../agent/cli/output/progress_line.ts'

function output(terminal: object) {
  const said: string[] = []
  return {
    said,
    line: new ProgressLine({ ...terminal, write: (text: string | Uint8Array) => said.push(`${text}`) }),
  }
}

describe('progress', () => {
  it('is one line on a terminal, cut to its width, that the next text replaces and the end removes', () => {
    const { said, line } = output({ isTTY: true, columns: 30 })
    line.show('waiting for the lease store')
    line.show('waiting for a lease: out of subnets in this network')
    line.write('ready')
    line.end()
    expect(said.map(text => text.replaceAll('\r\u001b[K', '<'))).toEqual([
      '<  waiting for the lease store',
      expect.stringMatching(/^< {2}waiting for a lease: .{1,10}$/),
      '<',
      'ready\n',
    ])
  })

  it('is a line each elsewhere, and steers no terminal', () => {
    const { said, line } = output({})
    line.show('a\u001b[2J')
    line.write('b')
    expect(said.join('')).toBe('  a\\u001b[2J\nb\n')
  })
})
