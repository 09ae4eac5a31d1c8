import { defineConfig, mergeConfig } from 'vitest/config'
import all from './vitest.config.ts'

/** The rooms' own tests that need neither root, namespaces nor an etcd: for the loop of editing and running. */
export default mergeConfig(
  all,
  defineConfig({
    test: {
      exclude: [
        'node_modules/**',
        'test/{kernel,e2e,chaos,contract,demo,manifests,support}/**',
        'test/lease/{etcd,kubernetes}/**',
        // A browser takes half a minute.
        'test/agent/map/draw_map.test.ts',
        'test/agent/{cli,embedded_etcd,firewall,instance,node_files,runtime}/**',
      ],
    },
  }),
)
