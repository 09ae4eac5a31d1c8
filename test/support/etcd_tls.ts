import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EtcdFiles } from './etcd.ts'

const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

/** A certificate authority with a folder of its own, made by openssl(1). */
export class TestCa {
  readonly folder = mkdtempSync(join(tmpdir(), 'twill-ca-'))
  readonly caFile = join(this.folder, 'ca.pem')
  readonly #keyFile = join(this.folder, 'ca.key')

  constructor() {
    const files = ['-keyout', this.#keyFile, '-out', this.caFile]
    openssl('req', '-x509', ...ec, ...files, '-days', '2', '-subj', '/CN=twill-test-ca')
  }

  /**
   * A certificate for servers and clients, for these `names`. With a negative number of days it has expired.
   */
  issue(name: string, days = 1, names = 'IP:127.0.0.1,DNS:localhost'): EtcdFiles {
    const file = (ending: string) => join(this.folder, `${name}.${ending}`)
    openssl('req', ...ec, '-keyout', file('key'), '-out', file('csr'), '-subj', `/CN=${name}`)
    const extensions = join(this.folder, `${name}.ext`)
    execFileSync('sh', ['-c', `echo 'subjectAltName=${names}' >${extensions}`])
    const signing = ['-CA', this.caFile, '-CAkey', this.#keyFile, '-CAcreateserial', '-days', String(days)]
    openssl('x509', '-req', '-in', file('csr'), '-out', file('pem'), '-extfile', extensions, ...signing)
    return { caFile: this.caFile, certFile: file('pem'), keyFile: file('key') }
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** Replaces the files as an operator rotates certificates: new content under the same names. */
export function replaceFiles(target: EtcdFiles, source: EtcdFiles): void {
  for (const key of ['caFile', 'certFile', 'keyFile'] as const) copyFileSync(source[key], target[key])
}

function openssl(...args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: 'pipe' })
}
