import { describe, expect, it } from 'vitest'
import { readDotenv } from '../../../agent/node_files/dotenv.ts'

// What godotenv 1.5.1 makes of each.
const forms: readonly (readonly [string, Record<string, string>])[] = [
  ['A=1', { A: '1' }],
  ['export A=1', { A: '1' }],
  ['export\tA=1', { A: '1' }],
  ['exportA=1', { exportA: '1' }],
  ['A: 1', { A: '1' }],
  ['A:1', { A: '1' }],
  ['A :1', { A: '1' }],
  [' A = 1 ', { A: '1' }],
  ['\tA=1', { A: '1' }],
  ["A='1'", { A: '1' }],
  ['A="1"', { A: '1' }],
  ['A: "1"', { A: '1' }],
  ['A= "1"', { A: '1' }],
  ['A="1" # c', { A: '1' }],
  ['A=1 # c', { A: '1' }],
  ['A=1\t#c', { A: '1' }],
  ['A=a#b', { A: 'a#b' }],
  ['# c\nA=1', { A: '1' }],
  ['\nA=1\n\n', { A: '1' }],
  ['A=1\r\nB=2\r', { A: '1', B: '2' }],
  ['A=1\rB=2', { A: '1', B: '2' }],
  ['A=1\nA=2', { A: '2' }],
  ['A=', { A: '' }],
  ['A=\nB=1', { A: '', B: '1' }],
  ['A==1', { A: '=1' }],
  ['A=1;B=2', { A: '1;B=2' }],
  ['A=`1`', { A: '`1`' }],
  ['A.B=1', { 'A.B': '1' }],
  ['A="x\\ny"', { A: 'x\ny' }],
  ['A="a\\"b"', { A: 'a"b' }],
  ["A='a\n b'", { A: 'a\n b' }],
  ['A=x"y"', { A: 'x"y"' }],
  ['B=2\nA=$B', { A: '2', B: '2' }],
  [`B=2\nA=$\{B}`, { A: '2', B: '2' }],
  ['B=2\nA="$B/24"', { A: '2/24', B: '2' }],
  ["B=2\nA='$B'", { A: '$B', B: '2' }],
  ['A=$B\nB=2', { A: '', B: '2' }],
  [`A=$\{B}x`, { A: 'x' }],
  ['A=\\$B', { A: '$B' }],
  ['A="\\$B"', { A: '$B' }],
  ['A=10.1.1.1/24,10.2.1.1/24', { A: '10.1.1.1/24,10.2.1.1/24' }],
  ['FLANNEL_SUBNET: 10.1.1.1/24', { FLANNEL_SUBNET: '10.1.1.1/24' }],
]

// godotenv gives up the whole file here.
const broken: readonly (readonly [string, Record<string, string>])[] = [
  ['\ufeffA=1', { A: '1' }],
  ['A\nB=1', { B: '1' }],
  ['A-C=1\nB=2', { B: '2' }],
  ['A=1\n!!\nB=2', { A: '1', B: '2' }],
  ['A="1\nB=2', { A: '', B: '2' }],
]

describe('a file of variables', () => {
  it.each(forms)('%j is read as godotenv reads it', (text, values) => {
    expect(Object.fromEntries(readDotenv(text))).toEqual(values)
  })

  it.each(broken)('%j loses no more than the line that is wrong', (text, values) => {
    expect(Object.fromEntries(readDotenv(text))).toMatchObject(values)
  })
})
