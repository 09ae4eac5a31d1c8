import { describeLeaseStore, type StoreBed } from '../contract/lease_store.ts'
import { MemoryServer, MemoryStore } from './memory_store.ts'

describeLeaseStore('memory', async (): Promise<StoreBed> => {
  const server = new MemoryServer()
  return {
    openNode: () => new MemoryStore(server),
    writeConfig: async text => server.writeConfig(text),
    removeLease: async node => server.remove(node),
    writeLease: async (node, value) => server.write(node, value),
    fail: async () => {
      server.reachable = false
    },
    recover: async () => {
      server.reachable = true
    },
    close: async () => {},
  }
})
