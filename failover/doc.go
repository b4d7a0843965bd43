// Package failover is the policy: which replica is the best and why each other is not, what the next step of an open
// failover is, whether one could happen at all, and how the instances of a set are brought in line with the committed
// master. It is pure: decisions are functions of the state, the observations and the present moment.
package failover
