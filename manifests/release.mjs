// Turns what is unreleased into a version: CHANGELOG.md, package.json and package-lock.json. Commits nothing.
import { readFileSync, writeFileSync } from 'node:fs'

const [version] = process.argv.slice(2)
if (!/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version ?? '')) {
  console.error('usage: npm run release -- 1.2.3')
  process.exit(2)
}
const changelog = readFileSync('CHANGELOG.md', 'utf8')
const head = '## [Unreleased]\n'
const [before, after] = changelog.split(head)
if (after === undefined || !/^- /m.test(after.split('\n## [')[0] ?? '')) {
  console.error(`CHANGELOG.md has nothing below '${head.trim()}'`)
  process.exit(1)
}
if (changelog.includes(`## [${version}]`)) {
  console.error(`CHANGELOG.md has a version ${version} already`)
  process.exit(1)
}
const today = new Date().toISOString().slice(0, 10)
writeFileSync('CHANGELOG.md', `${before}${head}\n## [${version}] - ${today}\n${after}`)
for (const file of ['package.json', 'package-lock.json']) {
  const content = JSON.parse(readFileSync(file, 'utf8'))
  content.version = version
  if (content.packages !== undefined) content.packages[''].version = version
  writeFileSync(file, `${JSON.stringify(content, null, 2)}\n`)
}
console.log(
  `Version ${version}: look at git diff, then git commit -am 'Version ${version}' && git tag v${version}`,
)
