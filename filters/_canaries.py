def faults_of_sandbox(): return ""
