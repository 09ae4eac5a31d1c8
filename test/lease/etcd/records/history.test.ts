import { describe, expect, test } from 'vitest'
import { defaultTuning } from '../../../../lease/etcd/client/tuning.ts'
import { LastSeen } from '../../../../lease/etcd/last_seen/last_seen.ts'
import { contradicts } from '../../../../lease/etcd/records/history.ts'
import type { Lease } from '../../../../lease/lease.ts'
import { etcdOptions } from '../../../support/etcd_bed.ts'
import { RecordingLog } from '../../../support/log.ts'

const node = '10.1.5.0-24'
const table = new Map<string, Lease>([[node, { node, since: 40, backendType: 'vxlan', subnets: [] }]])
const key = (createRevision: number, modRevision: number) => ({
  key: node,
  value: '',
  leaseId: '0',
  createRevision,
  modRevision,
})

describe('a key against the table of revision 50', () => {
  test.each([
    ['created as the table says', key(40, 45), node, false],
    ['created as the table says, and written since', key(40, 70), node, false],
    ['created again since', key(60, 60), node, false],
    ['created at another revision before', key(30, 30), node, true],
    ['created at another revision before, and written since', key(30, 70), node, true],
    ['that the table does not have', key(30, 30), 'other', true],
    ['that the table does not have, and that may have been no lease then', key(30, 70), 'other', false],
  ])('%s', (_, kv, name, isOther) => {
    expect(contradicts(table, 50, kv, name)).toBe(isOther)
  })
})

test('our own key that was written at the same revision in another history is of that history from then on', () => {
  const lastSeen = new LastSeen(etcdOptions([], '/test'), defaultTuning, new RecordingLog())
  lastSeen.sawOwn(key(48, 48))
  lastSeen.storeWasReset()
  expect(lastSeen.ownInHistory).toBeUndefined()
  lastSeen.sawOwn(key(8, 48))
  expect(lastSeen.ownInHistory).toEqual(key(8, 48))
})
