import type { Lease } from '../../lease/lease.ts'
import type { BlackholeRoute } from '../state/entry.ts'
import { TWILL_PROTOCOL } from '../state/ownership.ts'
import type { Backend } from './backend.ts'

/** A worse metric than any other route: while the bridge exists, its own route to the same prefix wins. */
const METRIC = 0xff_ff_ff_00

/** Drops packets for missing pods (`--ip-blackhole-route`): the default gateway may send them back. */
export function withBlackholeRoute(backend: Backend): Backend {
  return {
    ...backend,
    ownEntries: (self, underlay) => [...backend.ownEntries(self, underlay), ...blackholeRoutes(self)],
  }
}

function blackholeRoutes(self: Lease): BlackholeRoute[] {
  return self.subnets.map(({ prefix }) => ({
    kind: 'route',
    type: 'blackhole',
    dst: prefix,
    metric: METRIC,
    protocol: TWILL_PROTOCOL,
  }))
}
