import { FakeCluster } from '../support/api_server_cluster.ts'
import { type OpenStore, openStore } from '../support/api_server_store.ts'
import { describeAnyLeaseStore } from './any_lease_store.ts'

describeAnyLeaseStore('kubernetes', async () => {
  const cluster = await FakeCluster.open('{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan"}}')
  for (const n of [1, 2, 3]) await cluster.createNode({ name: `n${n}`, podCidrs: [`10.1.${n}.0/24`] })
  const opened: OpenStore[] = []
  return {
    openNode(n) {
      const node = openStore(cluster.options(`n${n}`))
      opened.push(node)
      return node.store
    },
    removeLease: ({ node }) => cluster.deleteNode(node),
    fail: () => cluster.server.stop(),
    recover: async () => {
      await cluster.server.start()
    },
    async close() {
      for (const node of opened) await node.close()
      await cluster.close()
    },
  }
})
