import { MemoryServer, MemoryStore } from '../support/memory_store.ts'
import { describeAnyLeaseStore } from './any_lease_store.ts'

describeAnyLeaseStore('memory', async () => {
  const server = new MemoryServer()
  server.writeConfig('{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan"}}')
  return {
    openNode: () => new MemoryStore(server),
    removeLease: async ({ node }) => server.remove(node),
    fail: async () => {
      server.reachable = false
    },
    recover: async () => {
      server.reachable = true
    },
    close: async () => {},
  }
})
