import type { Lease } from '../../lease/lease.ts'
import type { BlackholeRoute } from '../state/entry.ts'
import { TWILL_PROTOCOL } from '../state/ownership.ts'
import type { Backend } from './backend.ts'

/** Worse than any other route: the bridge's own route to the same prefix, which comes and goes with the bridge, wins. */
const METRIC = 0xff_ff_ff_00

/**
 * Drops packets for pods that are not there instead of sending them to the default gateway, which may send them back
 * (`--ip-blackhole-route`). One route a subnet of this node; it goes with the subnet, and with the flag.
 */
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
