# Vault Agent beside the app. The agent reads the file: --token-file /run/tokens/app-token
auto_auth {
  method "kubernetes" {
    mount_path = "auth/kubernetes"
    config = {
      role = "shop"
    }
  }
}

template_config {
  static_secret_render_interval = "1m" # how often the newest version is read; 5m by default
  exit_on_retry_failure         = false
}

template {
  source               = "/etc/vault/app-token.ctmpl"
  destination          = "/run/tokens/app-token" # on an emptyDir with medium: Memory
  perms                = "0440"
  error_on_missing_key = true
}
