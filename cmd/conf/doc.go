// Package conf reads the configuration language: redis.conf syntax from files, flags and environment variables, with every
// fault named by its place. It is pure: reading files is the caller's business.
package conf
