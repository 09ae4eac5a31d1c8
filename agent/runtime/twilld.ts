#!/usr/bin/env -S -u NODE_OPTIONS node
import { silenceDeprecations } from './deprecations.ts'
import { requireNode } from './required_node.js'
import { agentV8Flags, setV8Flags } from './v8_flags.ts'

requireNode('twilld')
silenceDeprecations()
// Parts of Node.js that every agent uses. V8 would refuse their compiled code under other flags than Node.js
// was built with, and compile them again, which takes 20 ms of CPU time.
for (const name of ['http', 'tls', 'child_process', 'crypto', 'dns/promises', 'fs/promises', 'vm'])
  process.getBuiltinModule(`node:${name}`)
setV8Flags(agentV8Flags)
await import('../main.ts')
