import { endProcess, endWhereOutputFails, LazyStderr } from '../runtime/end_process.ts'
import { run } from './program.ts'

// Node.js prints warnings by default, which are for developers.
process.removeAllListeners('warning')
const errors = new LazyStderr()
endWhereOutputFails('twill', errors)
await endProcess('twill', await run(process.argv.slice(2), process.env, process.stdout, errors), errors)
