import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { parseStoreOptions, storeWarnings } from '../../../agent/config/store_options.ts'
import { ConfigError } from '../../../agent/config/values.ts'

describe('the store options', () => {
  const etcd = (line: string) => parseStoreOptions(line.split(' '), {}).store

  it('take endpoints with and without scheme and port', () => {
    expect(etcd('--etcd-endpoints=10.0.0.1,https://[fd00::1]:443,http://db/,')).toMatchObject({
      endpoints: ['http://10.0.0.1:2379', 'https://[fd00::1]:443', 'http://db:2379'],
    })
  })

  it('honour a CA alone', () => {
    expect(etcd('--etcd-cafile=/ca --etcd-endpoints=db:2379')).toMatchObject({
      caFile: '/ca',
      endpoints: ['https://db:2379'],
    })
    expect(storeWarnings(etcd('--etcd-cafile=/ca --etcd-endpoints=http://db:2379'))).toContain(
      'Certificates are given but http://db:2379 is spoken to in the clear: write https:// there',
    )
  })

  it('join the prefix as flanneld does', () => {
    expect(etcd('--etcd-prefix=//a/b/')).toMatchObject({ prefix: '/a/b' })
    expect(etcd('--etcd-prefix=a/b')).toMatchObject({ prefix: 'a/b' })
  })

  it('can be had alone, from the same flags and variables, and never from the cache', () => {
    const { store } = parseStoreOptions(['-etcd-prefix', '/x'], { FLANNELD_ETCD_ENDPOINTS: 'http://h:1' })
    expect(store).toMatchObject({ endpoints: ['http://h:1'], prefix: '/x', cacheFile: undefined })
    expect(parseStoreOptions(['--kube-subnet-mgr'], { NODE_NAME: 'n1' }).store).toMatchObject({
      kind: 'kubernetes',
      nodeName: 'n1',
    })
  })

  describe('with a password file', () => {
    const directory = mkdtempSync(join(tmpdir(), 'twill-'))
    const file = join(directory, 'password')
    afterAll(() => rmSync(directory, { recursive: true }))
    const read = (text: string, more = '') => {
      writeFileSync(file, text)
      return etcd(`--etcd-username=u --etcd-password-file=${file}${more}`)
    }

    it('take its first line', () => {
      for (const text of ['s3cret', 's3cret\n', 's3cret\r\n', 's3cret\nmore\n'])
        expect(read(text)).toMatchObject({ username: 'u', password: 's3cret' })
    })

    it('refuse what is no password, and never print it', () => {
      expect(() => read('\nx')).toThrow(`--etcd-password-file: the first line of ${file} is empty`)
      expect(() => read('x'.repeat(5000))).toThrow('has more than 4096 bytes')
      expect(() => read('x', ' --etcd-password=y')).toThrow('leave out --etcd-password')
      expect(() => etcd('--etcd-password-file=/nowhere')).toThrow(ConfigError)
      expect(() => etcd('--etcd-password-file=/dev/zero')).toThrow(ConfigError)
    })
  })
})
