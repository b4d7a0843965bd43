// Package web serves HTTP: metrics, health, and the checks of load balancers.
package web
