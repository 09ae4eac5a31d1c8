import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, expect, it } from 'vitest'
import { defaultTuning } from '../../../../lease/etcd/client/tuning.ts'
import { LastSeen } from '../../../../lease/etcd/last_seen/last_seen.ts'
import { hostileJson, mutated } from '../../../support/arbitrary.ts'
import { etcdOptions } from '../../../support/etcd_bed.ts'
import { RecordingLog } from '../../../support/log.ts'

const endpoint = 'http://127.0.0.1:2379'
const folder = mkdtempSync(join(tmpdir(), 'twill-last-seen-'))
const file = join(folder, 'leases.json')
afterAll(() => rmSync(folder, { recursive: true }))

/** A cache of this store, in which one value after the other is foreign. */
const bodies = hostileJson.chain(foreign => {
  const notes = { endpoints: `["${endpoint}"]`, at: '{"clusterId":"1","revision":2}', remembered: '[]' }
  const lease = '{"node":"10.1.5.0-24","backendType":"vxlan","since":1,"subnets":[]}'
  const config = JSON.stringify('{"Network":"10.1.0.0/16"}')
  return fc.constantFrom(
    body(config, lease, `{"endpoints":["${endpoint}"],"at":${foreign},"remembered":[]}`),
    body(config, lease, `{"endpoints":["${endpoint}"],"own":${foreign},"remembered":[]}`),
    body(config, lease, `{"endpoints":["${endpoint}"],"remembered":[[${foreign},${foreign}]]}`),
    body(config, lease, `{"endpoints":${foreign},"at":${notes.at},"remembered":[]}`),
    body(config, foreign, `{"endpoints":${notes.endpoints},"remembered":${foreign}}`),
    body(JSON.stringify(foreign), lease, `{"endpoints":${notes.endpoints},"remembered":[]}`),
    body(foreign, lease, foreign),
  )
})

it('whatever the last-seen file holds under a right checksum is one line and a start without it, or used', async () => {
  await fc.assert(
    fc.asyncProperty(fc.oneof(bodies, mutated(bodies)), async text => {
      const log = new RecordingLog()
      const sha256 = createHash('sha256').update(text).digest('hex')
      writeFileSync(file, `${JSON.stringify({ format: 'twill-leases', version: 1, sha256 })}\n${text}\n`)
      await new LastSeen(
        etcdOptions([endpoint], '/coreos.com/network', { cacheFile: file }),
        defaultTuning,
        log,
      ).load()
      expect(log.lines.length).toBeLessThanOrEqual(1)
    }),
    { numRuns: 300 },
  )
})

function body(networkConfig: string, lease: string, notes: string): string {
  return `{"scope":"etcd /coreos.com/network","savedAtMs":1,"networkConfig":${networkConfig},"leases":[${lease}],"notes":${notes}}`
}
