import { describe, expect, it } from 'vitest'
import { readUnitEnvironment } from '../../../agent/install/unit_environment.ts'

/** Each value is what a service of systemd 252 was seen to get. */
const file = String.raw`# comment
; other
A=plain # not a comment
B="two words"
C='single $X "q"'
D = spaced
export E=exported
F=a\
b
G="esc \" \$ \n \\ end"
H=back\slash
 I=indented
J=x"y"'z'
K=
L=$HOME
M="multi
line"
N: colon
O=trail   
`
const fromFile = {
  A: 'plain # not a comment',
  B: 'two words',
  C: 'single $X "q"',
  D: 'spaced',
  F: 'ab',
  G: 'esc " $ \\n \\ end',
  H: 'backslash',
  I: 'indented',
  J: `x"y"'z'`,
  K: '',
  L: '$HOME',
  M: 'multi\nline',
  O: 'trail',
}

describe("a service's variables", () => {
  it('are those of its file, as systemd reads it', () => {
    const { values, warnings } = read({ '/etc/f.env': file }, '[Service]\nEnvironmentFile=-/etc/f.env\n')
    expect(values).toEqual(fromFile)
    expect(warnings).toEqual([
      "systemd ignores 'export E=...' in /etc/f.env: remove the word export, or the agent does not get it",
    ])
  })

  it('are those of its unit, quoted or not, and an empty setting takes back those before', () => {
    const unit = String.raw`[Service]
Environment=P1=gone
Environment=
Environment=Q1=a "Q2=b c" 'Q3=d e' Q4="f g" Q5=50%% "Q6=say \"hi\"" Q7=a\
  Q8=b
# Environment=R=no
EnvironmentFile=/etc/none
`
    expect(read({}, unit)).toEqual({
      values: { Q1: 'a', Q2: 'b c', Q3: 'd e', Q4: 'f g', Q5: '50%', Q6: 'say "hi"', Q7: 'a', Q8: 'b' },
      warnings: [],
    })
  })

  it('come last from files, and from drop-ins after the unit', () => {
    const unit = 'EnvironmentFile=/etc/a\nEnvironment=X=unit Y=unit Z=unit\n'
    const { values } = read({ '/etc/a': 'X=file\n' }, unit, '[Service]\nEnvironment="Y=drop-in"\n')
    expect(values).toEqual({ X: 'file', Y: 'drop-in', Z: 'unit' })
  })
})

function read(files: Readonly<Record<string, string>>, ...units: readonly string[]) {
  return readUnitEnvironment(units, path => files[path])
}
