"""The peer: a three-member etcd on loopback, and the little of its API that is measured."""
