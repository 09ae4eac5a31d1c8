import { orUndefined } from './common/errors.ts'
import { field, fieldsOf, MAX_BACKEND_DATA_BYTES, printJson } from './json/json.ts'
import { isUnicast, type Mac, parseMac } from './net/mac.ts'

/** The VTEP that a node publishes for one family: flannel's `{"VNI":1,"VtepMAC":"12:c6:65:89:b4:e3"}`. */
export interface Vtep {
  /** 24 bits (RFC 7348); undefined: an old flanneld release, which publishes none. */
  readonly vni: number | undefined
  readonly mac: Mac
}

/** No data for a tunnel. The text ends a sentence about the peer: which value, and why. */
export interface UnusableData {
  readonly unusable: string
}

/** Undefined where a node publishes none, as under host-gw. */
export type BackendData = Vtep | UnusableData | undefined

const MAX_VNI = 0xffffff

/** Reads the foreign JSON value; keys may have any case, as in Go. Never throws. */
export function readBackendData(value: unknown): BackendData {
  if (value === undefined || value === null) return undefined
  // `parseJson` has bounded the depth, so that stringify cannot overflow the stack.
  const text = JSON.stringify(value)
  if (Buffer.byteLength(text) > MAX_BACKEND_DATA_BYTES)
    return {
      unusable: `its backend data is longer than ${MAX_BACKEND_DATA_BYTES} bytes: ${printJson(value)}`,
    }
  const fields = fieldsOf(value) ?? new Map<string, unknown>()
  const vni = field(fields, 'VNI')
  if (vni !== undefined && !isVni(vni))
    return {
      unusable: `the VNI in its backend data ${printJson(value)} is no number from 0 to ${MAX_VNI}`,
    }
  const mac = readMac(field(fields, 'VtepMAC'))
  if (mac === undefined)
    return {
      unusable: `its backend data ${printJson(value)} names no usable VtepMAC: a unicast MAC is needed`,
    }
  return { vni, mac }
}

/** VNI first, VtepMAC last: flanneld recovers its MAC by splitting this text at `:"` and `"}`. */
export function backendDataJson(data: BackendData): unknown {
  const vtep = vtepOf(data)
  return vtep && { VNI: vtep.vni, VtepMAC: vtep.mac }
}

/** Undefined where the data name no usable VTEP. */
export function vtepOf(data: BackendData): Vtep | undefined {
  return data !== undefined && 'mac' in data ? data : undefined
}

export function isSameBackendData(a: BackendData, b: BackendData): boolean {
  if (a === undefined || b === undefined) return a === b
  if ('unusable' in a || 'unusable' in b)
    return 'unusable' in a && 'unusable' in b && a.unusable === b.unusable
  return a.vni === b.vni && a.mac === b.mac
}

function isVni(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= MAX_VNI
}

function readMac(value: unknown): Mac | undefined {
  const mac = typeof value === 'string' ? orUndefined(() => parseMac(value)) : undefined
  return mac !== undefined && isUnicast(mac) ? mac : undefined
}
