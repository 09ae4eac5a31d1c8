/** ICMPv6 type 134. */
const ROUTER_ADVERTISEMENT = 134

/**
 * RFC 4861, 4.6.2, prefix information: 2001:db8:bad::/64 is on link (L) and hosts may make addresses from it
 * (A), without an end.
 */
const prefixInformation = Buffer.from(
  '030440c0' + 'ffffffff' + 'ffffffff' + '00000000' + '20010db80bad0000' + '0000000000000000',
  'hex',
)

/**
 * A VXLAN datagram with a router advertisement from fe80::bad to all nodes: it offers a default router and a
 * prefix.
 */
export function routerAdvertisement(vni: number): Buffer {
  const vxlan = Buffer.alloc(8)
  vxlan.writeUInt8(0x08, 0)
  vxlan.writeUInt32BE(vni << 8, 4)
  const ethernet = Buffer.from('333300000001' + '020000000bad' + '86dd', 'hex')
  const source = Buffer.from('fe800000000000000000000000000bad', 'hex')
  const target = Buffer.from('ff020000000000000000000000000001', 'hex')
  const router = Buffer.from([ROUTER_ADVERTISEMENT, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0])
  const body = Buffer.concat([router, prefixInformation])
  const pseudo = Buffer.concat([source, target, Buffer.from([0, 0, 0, body.length, 0, 0, 0, 58]), body])
  body.writeUInt16BE(checksum(pseudo), 2)
  const ipv6 = Buffer.from([0x60, 0, 0, 0, 0, body.length, 58, 255])
  return Buffer.concat([vxlan, ethernet, ipv6, source, target, body])
}

/** RFC 1071. */
function checksum(bytes: Buffer): number {
  let sum = 0
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}
