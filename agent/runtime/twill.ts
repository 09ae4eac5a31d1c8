#!/usr/bin/env -S -u NODE_OPTIONS node
import { silenceDeprecations } from './deprecations.ts'
import { requireNode } from './required_node.js'

requireNode('twill')
silenceDeprecations()
await import('../cli/main.ts')
