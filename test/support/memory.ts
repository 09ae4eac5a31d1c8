/**
 * What the same agent holds more on Node.js 24 and 26 than on 20, in MB: 83 to 86 MB with 1,000 peers, where it holds
 * 70 on 20 (test/bench/README.md).
 */
export const NEWER_NODE_MB = Number(process.versions.node.split('.')[0]) < 24 ? 0 : 15
