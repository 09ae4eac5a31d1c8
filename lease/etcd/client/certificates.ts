import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto'
import { isIP } from 'node:net'
import { ipToBytes, parseIp } from '../../net/ip.ts'
import { bitString, element, explicit, integer, octetString, oid, sequence, set, TRUE, utf8 } from './der.ts'

/**
 * The certificates of a network whose agents run etcd themselves. The authority's key is derived from the
 * secret in the join token: every host that has the token derives the same authority and signs its own
 * certificate. So a host needs no other host to sign, and no other secret. X.509 v3, RFC 5280; Ed25519, RFC
 * 8410.
 */
export interface HostCertificate {
  readonly rootCertificate: Buffer
  readonly certChain: Buffer
  readonly privateKey: Buffer
}

const ED25519 = sequence(oid('1.3.101.112'))
/** The head of a PKCS #8 key whose last 32 bytes are the seed. */
const PKCS8_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex')
/** No end, as hosts without a clock must be able to join (RFC 5280, 4.1.2.5); a new token ends them all. */
const VALIDITY = sequence(
  element(0x17, Buffer.from('700101000000Z')),
  element(0x18, Buffer.from('99991231235959Z')),
)

/** This host's certificate, in PEM. `names`: where clients reach it as a server, if it is one. */
export function issueCertificate(secret: Uint8Array, names: readonly string[] = []): HostCertificate {
  const authority = authorityKey(secret)
  const name = authorityName(authority)
  const host = generateKeyPairSync('ed25519')
  const root = certificate(authority, name, name, createPublicKey(authority), Buffer.from([1]), [
    extension('2.5.29.19', true, sequence(TRUE)), // basicConstraints: an authority
    extension('2.5.29.15', true, bitString(Buffer.from([0x04]), 2)), // keyUsage: keyCertSign
  ])
  const serial = Buffer.concat([Buffer.from([1]), randomBytes(15)])
  const leaf = certificate(authority, name, commonName('twill host'), host.publicKey, serial, [
    extension('2.5.29.15', true, bitString(Buffer.from([0x80]), 7)), // keyUsage: digitalSignature
    // extKeyUsage: serverAuth and clientAuth. A member of etcd is both to the other members.
    extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.1'), oid('1.3.6.1.5.5.7.3.2'))),
    ...(names.length === 0 ? [] : [subjectAltName(names)]),
  ])
  const privateKey = host.privateKey.export({ type: 'pkcs8', format: 'pem' })
  return { rootCertificate: pem(root), certChain: pem(leaf), privateKey: Buffer.from(privateKey) }
}

function authorityKey(secret: Uint8Array): KeyObject {
  const seed = Buffer.from(hkdfSync('sha256', secret, '', 'twill etcd certificate authority', 32))
  return createPrivateKey({ key: Buffer.concat([PKCS8_HEAD, seed]), format: 'der', type: 'pkcs8' })
}

/** Contains a hash of the key, so that each network's authority has another name. */
function authorityName(key: KeyObject): Buffer {
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' })
  return commonName(`twill network ${createHash('sha256').update(spki).digest('hex').slice(0, 16)}`)
}

function certificate(
  authority: KeyObject,
  issuer: Buffer,
  subject: Buffer,
  publicKey: KeyObject,
  serial: Uint8Array,
  extensions: readonly Buffer[],
): Buffer {
  const signed = sequence(
    explicit(0, integer(Buffer.from([2]))),
    integer(serial),
    ED25519,
    issuer,
    VALIDITY,
    subject,
    publicKey.export({ type: 'spki', format: 'der' }),
    explicit(3, sequence(...extensions)),
  )
  return sequence(signed, ED25519, bitString(sign(null, signed, authority)))
}

function commonName(text: string): Buffer {
  return sequence(set(sequence(oid('2.5.4.3'), utf8(text))))
}

function extension(id: string, isCritical: boolean, value: Buffer): Buffer {
  return sequence(oid(id), ...(isCritical ? [TRUE] : []), octetString(value))
}

/** iPAddress is [7], dNSName [2]. */
function subjectAltName(names: readonly string[]): Buffer {
  const general = names.map(name =>
    isIP(name) === 0 ? element(0x82, Buffer.from(name)) : element(0x87, ipToBytes(parseIp(name))),
  )
  return extension('2.5.29.17', false, sequence(...general))
}

function pem(der: Buffer): Buffer {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return Buffer.from(['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n'))
}
