// Package upgrade rolls clusters of real released programs to this build, and back, while masters fail.
package upgrade
