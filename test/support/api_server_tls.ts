import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface TlsFiles {
  readonly keyPem: string
  readonly certPem: string
}

/**
 * A self-signed certificate for 127.0.0.1, valid for a day. Made by openssl(1), because node:crypto makes
 * only keys.
 */
export function makeTls(): TlsFiles {
  const folder = mkdtempSync(join(tmpdir(), 'twill-tls-'))
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1']
  const name = ['-subj', '/CN=twill-test-api-server', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost']
  try {
    execFileSync('openssl', ['req', '-x509', ...ec, ...name, '-keyout', key, '-out', cert], { stdio: 'pipe' })
    return { keyPem: readFileSync(key, 'utf8'), certPem: readFileSync(cert, 'utf8') }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
