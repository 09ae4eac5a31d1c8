import { fieldsOf, parseJson } from '../../lease/json/json.ts'
import { type Ip, parseIp } from '../../lease/net/ip.ts'

/** On the TCP port of bulk transfers: QUESTION, too large for a length, then a line of JSON. */
export type Question = (
  | { readonly ask: 'trace'; readonly from: Ip; readonly to: Ip }
  | { readonly ask: 'heard'; readonly address: Ip; readonly port: number; readonly session: number }
) & {
  /** The peer that has to answer: the asked agent passes the question on to it. */
  readonly via?: Ip
}

/** `twq1`. */
export const QUESTION = 0x74777131
export const LONGEST_QUESTION = 1_024
export const LONGEST_ANSWER = 64 * 1024

export function encodeQuestion(question: Question): Buffer {
  const magic = Buffer.alloc(4)
  magic.writeUInt32BE(QUESTION, 0)
  return Buffer.concat([magic, Buffer.from(`${JSON.stringify(question)}\n`)])
}

/** Throws JsonError or AddressError; undefined for a question that this version does not know. */
export function parseQuestion(line: string): Question | undefined {
  const fields = fieldsOf(parseJson(line, LONGEST_QUESTION))
  const ip = (name: string) => {
    const value = fields?.get(name)
    return parseIp(typeof value === 'string' ? value : '')
  }
  const number = (name: string, most: number) => {
    const value = fields?.get(name)
    return Number.isInteger(value) && Number(value) > 0 && Number(value) <= most ? Number(value) : undefined
  }
  const via = fields?.has('via') === true ? { via: ip('via') } : {}
  if (fields?.get('ask') === 'trace') return { ask: 'trace', from: ip('from'), to: ip('to'), ...via }
  const [port, session] = [number('port', 0xffff), number('session', 0xffffffff)]
  if (fields?.get('ask') !== 'heard' || port === undefined || session === undefined) return undefined
  return { ask: 'heard', address: ip('address'), port, session, ...via }
}
