package agent

import "os"

// warnAboutSDKs logs a warning if APP_API_TOKEN is set in the environment but is not
// the token source. Dapr SDKs read the variable once and check the token themselves
// (https://docs.dapr.io/operations/security/app-api-token/), so they refuse the new
// token after a rotation.
func (r *resolved) warnAboutSDKs() {
	isSource := r.tokens != nil && r.tokens.kind == "env" && r.tokens.location == DaprTokenEnv
	if os.Getenv(DaprTokenEnv) == "" || isSource {
		return
	}
	r.Logger.Warn(DaprTokenEnv+" is set in the environment and is not the source; a Dapr SDK in the app reads it once"+
		" and checks the token again, so it refuses the new one after a rotation; unset it in the app's environment",
		"variable", DaprTokenEnv)
}
