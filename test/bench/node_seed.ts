import type { NodeSeed } from '../support/api_server_nodes.ts'

/** A Node as a kubelet and a cloud provider leave it: half of it images and conditions. */
export function nodeSeed(n: number): NodeSeed {
  const name = `ip-10-0-${n >> 8}-${n & 255}.eu-central-1.compute.internal`
  const fields = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`f:label.example.com/${i}`, {}]))
  const managedFields = ['kubelet', 'twilld'].map(manager => ({
    manager,
    operation: 'Update',
    apiVersion: 'v1',
    fieldsType: 'FieldsV1',
    fieldsV1: manager === 'kubelet' ? { 'f:metadata': { 'f:labels': fields } } : {},
  }))
  const images = Array.from({ length: 62 }, (_, i) => ({
    names: [
      `registry.example.com/team/image-${i}@sha256:${'0123456789abcdef'.repeat(4)}`,
      `registry.example.com/team/image-${i}:v1.${i}.0`,
    ],
    sizeBytes: 50_000_000 + i,
  }))
  return {
    name,
    podCidrs: [`10.${64 + (n >> 8)}.${n & 255}.0/24`],
    annotations: {
      'node.alpha.kubernetes.io/ttl': '0',
      'volumes.kubernetes.io/controller-managed-attach-detach': 'true',
      'flannel.alpha.coreos.com/kube-subnet-manager': 'true',
      'flannel.alpha.coreos.com/backend-type': 'vxlan',
      'flannel.alpha.coreos.com/backend-data': `{"VNI":1,"VtepMAC":"02:00:00:00:${hex(n >> 8)}:${hex(n & 255)}"}`,
      'flannel.alpha.coreos.com/public-ip': `10.0.${n >> 8}.${n & 255}`,
    },
    ballast: { managedFields, status: { images, capacity: { cpu: '8', memory: '32Gi', pods: '110' } } },
  }
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0')
}
