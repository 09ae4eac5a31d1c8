#!/usr/bin/env -S -u NODE_OPTIONS node
import { silenceDeprecations } from './deprecations.ts'
import { requireNode } from './required_node.js'
import { agentV8Flags, setV8Flags } from './v8_flags.ts'

requireNode('twilld')
silenceDeprecations()
setV8Flags(agentV8Flags)
await import('../main.ts')
