import { X509Certificate } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { issueCertificate } from '../../../../lease/etcd/client/certificates.ts'

const secret = Buffer.from('0123456789abcdef')

describe('the certificates of a join token', () => {
  it('are of one authority on every host', () => {
    const [one, other] = [issueCertificate(secret), issueCertificate(secret, ['10.0.0.1'])]
    expect(one.rootCertificate).toEqual(other.rootCertificate)
    const root = new X509Certificate(one.rootCertificate)
    expect([root.ca, root.verify(root.publicKey)]).toEqual([true, true])
    for (const { certChain } of [one, other]) {
      const leaf = new X509Certificate(certChain)
      expect([leaf.ca, leaf.checkIssued(root), leaf.verify(root.publicKey)]).toEqual([false, true, true])
    }
  })

  it('have a key of their own each time', () => {
    expect(issueCertificate(secret).privateKey).not.toEqual(issueCertificate(secret).privateKey)
  })

  it('name the addresses and names of a server', () => {
    const names = ['127.0.0.1', 'fd00::1', 'host.example']
    const leaf = new X509Certificate(issueCertificate(secret, names).certChain)
    expect(
      leaf.checkIP('127.0.0.1') && leaf.checkIP('fd00::1') && leaf.checkHost('host.example'),
    ).toBeTruthy()
    expect(leaf.checkIP('127.0.0.2')).toBeUndefined()
  })

  it('of another token are of another authority', () => {
    const root = new X509Certificate(issueCertificate(Buffer.from('0123456789abcdeF')).rootCertificate)
    const leaf = new X509Certificate(issueCertificate(secret).certChain)
    expect([leaf.checkIssued(root), leaf.verify(root.publicKey)]).toEqual([false, false])
  })
})
